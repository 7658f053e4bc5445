"""The linearizability checker, and the timelines that its histories are shown as."""
