"""The router inside the LiteLLM proxy: its decision, quotas, budgets and ledger for teams that run LiteLLM.

Callers speak to our HTTP server; LiteLLM's application is called in the same process, once for each attempt. Its hooks
ask our decision for a pool, its guardrails and callbacks run as usual, and a transport of ours is its only way to a
pool. Everything that decides, counts or records is ours. LiteLLM lives in an environment of its own
(requirements-litellm.lock), where only `hooks` and `__main__` import it; nothing else of this project does.
"""
