"""Each guard's session: its specification and a target, move by move."""
