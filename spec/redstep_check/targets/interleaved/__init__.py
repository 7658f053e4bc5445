"""The shipped protocols among concurrent clients: the only part of the scheduler that knows them."""
