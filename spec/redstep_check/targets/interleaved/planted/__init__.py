"""Bugs that only interleavings show, planted into the shipped protocols or written the way that everybody does first."""
