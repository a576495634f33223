"""search.py - every state of a model that its steps lead to, breadth first.

A model has steps(state), which yields a name and a state each, and violation(state): what is
wrong with it, or None.  States are hashable.
"""
from collections import deque


def search(model, start):
    """-> how many states there are, what is violated (None: nothing), the steps that lead there."""
    came, queue = {start: None}, deque([start])
    while queue:
        state = queue.popleft()
        for name, after in model.steps(state):
            if after in came:
                continue
            came[after] = (name, state)
            bad = model.violation(after)
            if bad:
                trace = []
                while came[after]:
                    name, after = came[after]
                    trace.append(name)
                return len(came), bad, trace[::-1]
            queue.append(after)
    return len(came), None, []
