"""The specification of each guard, as concurrent clients meet it."""
