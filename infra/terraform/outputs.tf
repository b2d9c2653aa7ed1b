output "api_url" {
  description = "Where the HTTP API answers: the page at /, POST /presign, …"
  value       = aws_api_gateway_stage.rest_api.invoke_url
}

output "bucket" {
  description = "Where the files are."
  value       = aws_cloudformation_stack.waybill.outputs["BucketName"]
}

output "resources" {
  description = "Every output of infra/template.yaml."
  value       = aws_cloudformation_stack.waybill.outputs
}
