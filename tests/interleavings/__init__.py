"""The scheduler: schedules that are drawn, schedules that are exhausted, and bugs that both must find."""
