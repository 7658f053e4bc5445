"""
Laws: what must hold of all that happened to one key, in time that grows with the history and not with its overlap.

They are one-sided: what is unknown is left out, which can hide, and never alarm. So they hold under any clock, and their
verdict is never *undecided*.
"""
