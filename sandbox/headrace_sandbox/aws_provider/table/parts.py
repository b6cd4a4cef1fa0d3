"""What many rows have in common."""

from __future__ import annotations

from headrace_sandbox.aws_provider.spec import Read, Tags

EC2_ARN = "arn:{partition}:ec2:{region}:{account}:"
"""What every ARN of EC2 begins with; a template."""


def words(text: str) -> frozenset[str]:
    """A set of names written as one text."""
    return frozenset(text.split())


def ec2_tags(resource_type: str, target: str = "{id}", *, asked: bool = False) -> Tags:
    """EC2's tags: set at creation, then changed with CreateTags and DeleteTags. `asked`: read with DescribeTags, for
    types whose own description may lag behind."""
    filters = [{"Name": "resource-id", "Values": [target]}]
    return Tags(
        resource_type=resource_type,
        tag="CreateTags",
        tag_member="Tags",
        untag="DeleteTags",
        untag_member="Tags",
        target={"Resources": [target]},
        list=Read(op="DescribeTags", args={"Filters": filters}, at="Tags") if asked else None,
    )


def arn_tags(create: str = "tags", *, arn: str = "{arn}", read: str = "", listed: bool = False) -> Tags:
    """The newer services' tags: a map or list under `tags`, TagResource and UntagResource on `resourceArn`."""
    return Tags(
        create=create,
        tag="TagResource",
        tag_member="tags",
        untag="UntagResource",
        untag_member="tagKeys",
        target={"resourceArn": arn},
        read=read,
        list=Read(op="ListTagsForResource", args={"resourceArn": arn}, at="tags") if listed else None,
    )


def upper_arn_tags(*, target: str = "ResourceArn", tags: str = "Tags", keys: str = "TagKeys", at: str = "Tags") -> Tags:
    """The same where the service writes its members with a capital."""
    return Tags(
        create=tags,
        tag="TagResource",
        tag_member=tags,
        untag="UntagResource",
        untag_member=keys,
        target={target: "{arn}"},
        list=Read(op="ListTagsForResource", args={target: "{arn}"}, at=at),
    )


def resource_name_tags() -> Tags:
    """ElastiCache's and RDS's tags: AddTagsToResource and RemoveTagsFromResource on an ARN called `ResourceName`."""
    return Tags(
        create="Tags",
        tag="AddTagsToResource",
        tag_member="Tags",
        untag="RemoveTagsFromResource",
        untag_member="TagKeys",
        target={"ResourceName": "{arn}"},
        list=Read(op="ListTagsForResource", args={"ResourceName": "{arn}"}, at="TagList"),
    )
