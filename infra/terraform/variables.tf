variable "parameters" {
  description = "More parameters of infra/template.yaml, where Terraform knows what infra/<stage>.json cannot: subnets, say."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.parameters), local.fixed_parameters)) == 0
    error_message = "${join(", ", local.fixed_parameters)} follow from what was packaged: package again instead."
  }
}
