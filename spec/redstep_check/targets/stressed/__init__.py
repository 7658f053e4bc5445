"""The shipped clients under stress: nothing of them is replaced, their connections keep a log."""
