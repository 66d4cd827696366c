//! CPU use from the system's files. Pure; percentages of what this process may use, 0 to 100.

use std::time::Duration;

use serde_json::Value;

/// Time that a group of processes has used, and how many cores it may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CgroupUse {
    pub(crate) used: Duration,
    pub(crate) cores: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostUse {
    total: u64,
    idle: u64,
}

/// `cpu.stat`, `cpu.max` and `cpuset.cpus.effective` of cgroup v2.
pub(crate) fn cgroup_v2(stat: &str, max: &str, cpuset: &str) -> Option<CgroupUse> {
    let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()?;
    let mut max = max.split_whitespace();
    let (quota, period) = (max.next()?, max.next().unwrap_or("100000").parse::<f64>().ok()?);
    let cores = quota.parse::<f64>().map_or_else(|_| cores(cpuset), |quota| Some(quota / period))?;
    Some(CgroupUse { used: Duration::from_micros(micros), cores })
}

/// `cpuacct.usage`, `cpu.cfs_quota_us`, `cpu.cfs_period_us` and `cpuset.effective_cpus` of cgroup v1.
pub(crate) fn cgroup_v1(usage: &str, quota: &str, period: &str, cpuset: &str) -> Option<CgroupUse> {
    let nanos = usage.trim().parse().ok()?;
    let quota: f64 = quota.trim().parse().ok()?;
    let cores = if quota < 0.0 { cores(cpuset)? } else { quota / period.trim().parse::<f64>().ok()? };
    Some(CgroupUse { used: Duration::from_nanos(nanos), cores })
}

/// Number of cores in a list such as `0-3,8`.
fn cores(cpuset: &str) -> Option<f64> {
    let mut count = 0;
    for part in cpuset.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count += last.checked_sub(first)? + 1;
    }
    Some(f64::from(count))
}

/// The first line of `/proc/stat`: user, nice, system, idle and iowait count.
pub(crate) fn host(stat: &str) -> Option<HostUse> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(5).map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, idle, iowait] = ticks.try_into().ok()?;
    Some(HostUse { total: user + nice + system + idle + iowait, idle })
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct EcsUse {
    /// CPU time of the container and of the whole system, in nanoseconds.
    pub(crate) used: u64,
    pub(crate) system: u64,
    pub(crate) online: f64,
    pub(crate) cores: f64,
}

pub(crate) fn ecs_use(stats: &str, share: EcsShare) -> Option<EcsUse> {
    let stats: Value = serde_json::from_str(stats).ok()?;
    let cpu = stats.get("cpu_stats")?;
    let online = cpu.get("online_cpus")?.as_f64()?;
    Some(EcsUse {
        used: cpu.get("cpu_usage")?.get("total_usage")?.as_u64()?,
        system: cpu.get("system_cpu_usage")?.as_u64()?,
        online,
        cores: share.task_cores.unwrap_or(online) * share.part,
    })
}

/// A container's part of its task's cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct EcsShare {
    task_cores: Option<f64>,
    part: f64,
}

/// From the metadata of a task and of one of its containers.
pub(crate) fn ecs_share(task: &str, container: &str) -> Option<EcsShare> {
    /// CPU shares of a container that the agent does not list.
    const UNLISTED: f64 = 2.0;
    let (task, container): (Value, Value) = (serde_json::from_str(task).ok()?, serde_json::from_str(container).ok()?);
    let limit = |of: &Value| of.get("Limits").and_then(|limits| limits.get("CPU")).and_then(Value::as_f64);
    let me = container.get("DockerId")?;
    let containers = task.get("Containers")?.as_array()?;
    let own = containers.iter().find(|listed| listed.get("DockerId") == Some(me));
    let own = own.map_or(UNLISTED, |own| limit(own).unwrap_or(0.0));
    let all: f64 = containers.iter().filter_map(limit).sum();
    // Without limits of their own, each may use all that the task has.
    let part = if own > 0.0 && all > 0.0 { (own / all).min(1.0) } else { 1.0 };
    Some(EcsShare { task_cores: limit(&task), part })
}

impl EcsUse {
    pub(crate) fn percent_since(&self, before: &Self) -> f64 {
        let (used, system) = (self.used.saturating_sub(before.used), self.system.saturating_sub(before.system));
        if system == 0 || self.cores <= 0.0 {
            return 100.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a second")]
        let cores = used as f64 / system as f64 * self.online;
        (cores / self.cores * 100.0).min(100.0)
    }
}

impl CgroupUse {
    pub(crate) fn percent_since(&self, before: &Self, elapsed: Duration) -> f64 {
        let available = elapsed.as_secs_f64() * self.cores;
        let used = self.used.saturating_sub(before.used).as_secs_f64();
        if available > 0.0 { (used / available * 100.0).min(100.0) } else { 0.0 }
    }
}

impl HostUse {
    pub(crate) fn percent_since(&self, before: &Self) -> f64 {
        let total = self.total.saturating_sub(before.total);
        // Idle and iowait may run backwards a little.
        let busy = total.saturating_sub(self.idle.saturating_sub(before.idle));
        #[expect(clippy::cast_precision_loss, reason = "ticks of a second")]
        let percent = if total > 0 { busy as f64 / total as f64 * 100.0 } else { 0.0 };
        percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_v2_is_measured_against_its_quota_or_its_cores() {
        let second = Duration::from_secs(1);
        let limited =
            |usec: u32| cgroup_v2(&format!("usage_usec {usec}\nuser_usec 1\n"), "200000 100000\n", "0-7\n").unwrap();
        assert!((limited(1_500_000).percent_since(&limited(500_000), second) - 50.0).abs() < 1e-9);

        let free = |usec: u32| cgroup_v2(&format!("usage_usec {usec}\n"), "max 100000\n", "0-2,5\n").unwrap();
        assert!((free(1_000_000).percent_since(&free(0), second) - 25.0).abs() < 1e-9);
    }

    #[test]
    fn cgroup_v1_without_a_quota_is_measured_against_its_cores() {
        let second = Duration::from_secs(1);
        let used = |nanos: u64, quota: &str| cgroup_v1(&nanos.to_string(), quota, "100000\n", "0-1\n").unwrap();

        assert!((used(1_000_000_000, "-1\n").percent_since(&used(0, "-1\n"), second) - 50.0).abs() < 1e-9);
        assert!((used(1_000_000_000, "50000\n").percent_since(&used(0, "50000\n"), second) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_hosts_use_is_what_is_not_idle() {
        let before = host("cpu  100 0 100 700 100 9 9\ncpu0 1 1 1 1 1\n").unwrap();
        let after = host("cpu  150 0 125 720 105 9 9\n").unwrap();

        assert!((after.percent_since(&before) - 80.0).abs() < 1e-9);
        assert!((before.percent_since(&after) - 0.0).abs() < 1e-9, "a clock that runs backwards is no use");
    }

    #[test]
    fn a_container_of_ecs_is_measured_against_its_share_of_the_task() {
        let container = |id: &str, limits: &str| format!(r#"{{"DockerId": "{id}", "Limits": {limits}}}"#);
        let task = |limits: &str, containers: &[String]| {
            format!(r#"{{"Limits": {limits}, "Containers": [{}]}}"#, containers.join(","))
        };
        let stats = |used: u64, system: u64| {
            let text = format!(
                r#"{{"cpu_stats": {{"cpu_usage": {{"total_usage": {used}}}, "system_cpu_usage": {system}, "online_cpus": 4}}}}"#
            );
            move |share| ecs_use(&text, share).unwrap()
        };
        let me = r#"{"DockerId": "me"}"#;
        let both = [container("me", r#"{"CPU": 512}"#), container("sidecar", r#"{"CPU": 512}"#)];
        let share = ecs_share(&task(r#"{"CPU": 2}"#, &both), me).unwrap();
        // Half a core of the one that is ours.
        assert!((stats(125, 1000)(share).percent_since(&stats(0, 0)(share)) - 50.0).abs() < 1e-9);
        assert!((stats(1000, 1000)(share).percent_since(&stats(0, 0)(share)) - 100.0).abs() < 1e-9, "never more");
        assert!((stats(9, 5)(share).percent_since(&stats(9, 5)(share)) - 100.0).abs() < 1e-9, "no time has passed");

        let free = ecs_share(&task("{}", &[container("me", "{}")]), me).unwrap();
        assert!((stats(0, 0)(free).cores - 4.0).abs() < 1e-9, "no limit: all cores");
        let unlisted = ecs_share(&task(r#"{"CPU": 1}"#, &[container("x", r#"{"CPU": 8}"#)]), me).unwrap();
        assert!((stats(0, 0)(unlisted).cores - 0.25).abs() < 1e-9);
        assert_eq!(ecs_share("{}", me), None);
        assert_eq!(ecs_use("{}", share), None, "a container that has just started has no stats");
    }

    #[test]
    fn files_of_another_shape_are_not_understood() {
        assert_eq!(cgroup_v2("", "max 100000", "0"), None);
        assert_eq!(cgroup_v2("usage_usec 5", "max 100000", "x"), None);
        assert_eq!(cgroup_v1("x", "-1", "1", "0"), None);
        assert_eq!(host("intr 5"), None);
    }
}
