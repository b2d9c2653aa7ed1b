terraform {
  # 1.10 is the first that locks the state in S3 itself (use_lockfile), with no table beside it.
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60, < 7"
    }
  }

  # Where the state lies is not known here: terraform init -backend-config=backend.hcl
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = local.region

  # What was generated names this account's resources; with other credentials nothing is touched.
  allowed_account_ids = [local.account]

  default_tags {
    tags = local.tags
  }
}
