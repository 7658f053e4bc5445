"""The common naive script of each guard, as found in a hundred tutorials. Each is a target that must fail."""
