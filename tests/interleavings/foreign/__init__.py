"""Foreign implementations under the scheduler."""
