"""How to tell: the machinery that holds an implementation against the specification."""
