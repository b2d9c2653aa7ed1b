# One stage of Waybill. What keeps state is the same CloudFormation stack that every other way to deploy makes;
# the functions, their roles, triggers and API are in functions.tf.json, from `chalice package`. The locals that
# are used here are in that file.

resource "aws_cloudformation_stack" "waybill" {
  name          = "waybill-${local.stage}"
  template_body = file("${path.module}/template.json")
  parameters    = merge(local.parameters, var.parameters)
  capabilities  = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]

  lifecycle {
    # The functions were packaged for these names; stop before any of them is changed.
    postcondition {
      condition     = alltrue([for name, value in local.outputs : self.outputs[name] == value])
      error_message = "The stack's outputs are not those that the functions were packaged for; package again."
    }
  }
}

# Lambda would make these by itself, and keep them for ever.
resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  name              = "/aws/lambda/${each.value}"
  retention_in_days = local.log_retention_days
}

# In the bucket of the files, below a prefix that is nobody's. Functions that run have their own copy of it.
resource "aws_s3_object" "package" {
  bucket = local.outputs["BucketName"]
  key    = "_code/${filesha256("${path.module}/deployment.zip")}.zip"
  source = "${path.module}/deployment.zip"

  depends_on = [aws_cloudformation_stack.waybill]

  lifecycle {
    create_before_destroy = true
  }
}
