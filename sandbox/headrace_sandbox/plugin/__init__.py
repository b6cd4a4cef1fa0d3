"""What every stand-in resource provider of the sandbox shares: the engine's protocol, values, paths and diffs.

It speaks `ResourceProvider` (pulumi 3.259.0, `pulumi.runtime.proto`) directly rather than through
`pulumi.provider.experimental`, whose servicer drops `old_inputs` and `ignoreChanges` of a diff, has no name for an
unknown value other than a string constant, and costs `import pulumi` (0.5 s) at every start of a plugin.

A provider derives from `headrace_sandbox.plugin.provider.Provider` and calls `headrace_sandbox.plugin.server.serve`.
"""
