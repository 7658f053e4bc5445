"""Small worlds, in which a guard can be explored to its last state."""
