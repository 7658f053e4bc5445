"""The specification itself as a target, for each guard: what every machine must agree with."""
