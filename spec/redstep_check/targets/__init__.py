"""The shipped implementation as targets. No other part of the kit knows it."""
