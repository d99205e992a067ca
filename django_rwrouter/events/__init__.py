"""What happens to servers and to reads: the kinds of events, their causes, and a function to emit each."""
