"""Bugs that concurrent clients show: each is an edit of the shipped text, and each must be found."""
