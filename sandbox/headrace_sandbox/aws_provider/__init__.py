"""`pulumi-resource-aws` for machines where the official plugin cannot be had: a stand-in on botocore.

It speaks the tokens and property names of `pulumi_aws` 7.51 and behaves as the official plugin for the types in
`table`. Where it talks to is decided by the environment alone (`AWS_ENDPOINT_URL`), as for every AWS client.
"""
