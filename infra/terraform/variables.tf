variable "parameters" {
  description = "More parameters of infra/template.yaml, or others in place of those that the settings choose."
  type        = map(string)
  default     = {}

  validation {
    condition     = !contains(keys(var.parameters), "Stage")
    error_message = "The stage is chosen when the functions are packaged: python -m ops terraform --stage NAME."
  }
}

variable "log_retention_days" {
  description = "How long the functions' logs are kept."
  type        = number
  default     = 30
}
