"""Structs: messages, answers, events, options."""
