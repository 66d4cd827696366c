terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

variable "stream" {
  description = "Name of the stream"
  type        = string
}

variable "application" {
  description = "Name of the consumer application, which is the namespace of its metrics"
  type        = string
}

variable "lease_table" {
  description = "Name of the lease table; null if it is the application's"
  type        = string
  default     = null
}

variable "max_lag_millis" {
  description = "Lag of a shard in milliseconds beyond which its alarm rises"
  type        = number
  default     = 60000
}

variable "alarm_topics" {
  description = "ARNs of the SNS topics that hear of alarms"
  type        = list(string)
  default     = []
}
