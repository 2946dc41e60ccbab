"""The parts of a reproduction: processes that replay, their environments, and the judgement."""
