# Dashboard and alarms, the same as in ../cloudformation.yaml.

locals {
  table = coalesce(var.lease_table, var.application)
}

data "aws_region" "current" {}

resource "aws_cloudwatch_dashboard" "kinesis" {
  dashboard_name = "${var.application}-kinesis"
  dashboard_body = templatefile("${path.module}/../dashboard.json", {
    region      = data.aws_region.current.region
    stream      = var.stream
    application = var.application
    table       = local.table
  })
}

resource "aws_cloudwatch_metric_alarm" "records_expired" {
  alarm_name          = "${var.application}-RecordsExpired"
  alarm_description   = "User records were given up: they did not reach the stream within record_ttl."
  namespace           = "KinesisProducerLibrary"
  metric_name         = "UserRecordExpired"
  dimensions          = { StreamName = var.stream }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "producer_retries" {
  alarm_name          = "${var.application}-ProducerRetries"
  alarm_description   = "User records take more than one attempt beyond the first on average: shards are hot, or the stream is too small."
  namespace           = "KinesisProducerLibrary"
  metric_name         = "RetriesPerRecord"
  dimensions          = { StreamName = var.stream }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "stream_throttles_writes" {
  alarm_name          = "${var.application}-StreamThrottlesWrites"
  alarm_description   = "Writes are refused by the limits of shards."
  namespace           = "AWS/Kinesis"
  metric_name         = "WriteProvisionedThroughputExceeded"
  dimensions          = { StreamName = var.stream }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "stream_throttles_reads" {
  alarm_name          = "${var.application}-StreamThrottlesReads"
  alarm_description   = "Reads are refused by the limits of shards: others read them too."
  namespace           = "AWS/Kinesis"
  metric_name         = "ReadProvisionedThroughputExceeded"
  dimensions          = { StreamName = var.stream }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "consumer_lags" {
  alarm_name          = "${var.application}-ConsumerLags"
  alarm_description   = "A shard is processed late. Without data nobody processes at all."
  namespace           = var.application
  metric_name         = "MillisBehindLatest"
  dimensions          = { Operation = "ApplicationTracker" }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.max_lag_millis
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "leases_expired" {
  alarm_name          = "${var.application}-LeasesExpired"
  alarm_description   = "Leases that nobody keeps alive, for longer than a takeover lasts."
  namespace           = var.application
  metric_name         = "ExpiredLeases"
  dimensions          = { Operation = "LeaseAssignmentManager" }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "leases_without_worker" {
  alarm_name          = "${var.application}-LeasesWithoutWorker"
  alarm_description   = "Leases that no worker may take: all have max_leases."
  namespace           = var.application
  metric_name         = "LeaseSpillover"
  dimensions          = { Operation = "LeaseAssignmentManager" }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "hash_keys_uncovered" {
  alarm_name          = "${var.application}-HashKeysUncovered"
  alarm_description   = "The leases of a stream leave a hole in its hash keys: records are not processed."
  namespace           = var.application
  metric_name         = "NumStreamsWithPartialLeases"
  dimensions          = { Operation = "PeriodicShardSyncManager" }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "renewals_fail" {
  alarm_name        = "${var.application}-RenewalsFail"
  alarm_description = "More than a tenth of the renewals fail: the table throttles, or permissions are missing."

  metric_query {
    id          = "value"
    period      = 60
    return_data = true
    expression  = "SELECT AVG(Success) FROM \"${var.application}\" WHERE Operation = 'RenewAllLeases'"
  }

  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 0.9
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "batches_fail" {
  alarm_name        = "${var.application}-BatchesFail"
  alarm_description = "More than half of the batches fail."

  metric_query {
    id          = "value"
    period      = 60
    return_data = true
    expression  = "SELECT AVG(Success) FROM \"${var.application}\" WHERE Operation = 'ProcessTask'"
  }

  evaluation_periods  = 5
  comparison_operator = "LessThanThreshold"
  threshold           = 0.5
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "lease_table_throttles_reads" {
  alarm_name          = "${var.application}-LeaseTableThrottlesReads"
  alarm_description   = "The lease table refuses reads."
  namespace           = "AWS/DynamoDB"
  metric_name         = "ReadThrottleEvents"
  dimensions          = { TableName = local.table }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "lease_table_throttles_writes" {
  alarm_name          = "${var.application}-LeaseTableThrottlesWrites"
  alarm_description   = "The lease table refuses writes: leases may be lost."
  namespace           = "AWS/DynamoDB"
  metric_name         = "WriteThrottleEvents"
  dimensions          = { TableName = local.table }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}
