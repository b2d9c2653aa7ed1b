variable "parameters" {
  description = "More parameters of infra/template.yaml, where Terraform knows what infra/<stage>.json cannot: subnets, say."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.parameters), ["Stage", "MalwareScan", "Transcriber"])) == 0
    error_message = "Stage, MalwareScan and Transcriber follow from what was packaged: package again instead."
  }
}
