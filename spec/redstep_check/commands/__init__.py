"""The commands, one a module: what is asked, what is told, and the code that it ends with."""
