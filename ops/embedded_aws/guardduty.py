"""Bridge of GuardDuty, of which MiniStack has nothing."""


def take_malware_protection_plans() -> None:
    """CloudFormation takes a plan for S3, and nothing is scanned: a test writes the tags that a scan would.

    The role, the bucket's policy and all that hangs on them can so be tried with a template that has a plan.
    """
    from ministack.services.cloudformation import provisioners

    def create(logical_id: str, _properties: object, stack_name: str) -> tuple[str, dict[str, str]]:
        return f"{stack_name}-{logical_id}", {}

    provisioners._RESOURCE_HANDLERS["AWS::GuardDuty::MalwareProtectionPlan"] = {
        "create": create,
        "delete": provisioners._cfn_noop_delete,
    }
