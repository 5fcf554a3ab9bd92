"""Output for people: the report on a model with its page and figures, and the page of the audit.

What decides is in `evaluation`; nothing here changes a decision.
"""
