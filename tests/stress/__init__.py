"""Real concurrency: the shipped clients on threads, tasks and processes, what they leave behind, and how it is judged."""
