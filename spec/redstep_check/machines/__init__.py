"""One Hypothesis state machine per guard."""
