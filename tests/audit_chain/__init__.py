"""The audit chain, as it ships."""
