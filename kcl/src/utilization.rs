//! SHELL: how busy this worker is, for a leader that balances by it. Reads files; computed by
//! [`logic::cpu`](crate::logic::cpu).

use std::path::{Path, PathBuf};

use tokio::time::Instant;

use crate::logic::cpu::{CgroupUse, HostUse, cgroup_v1, cgroup_v2, host};

/// Where the numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Platform {
    /// A container with cgroup v2, on Kubernetes or ECS.
    CgroupV2,
    /// A container with cgroup v1.
    CgroupV1,
    /// An EC2 instance of its own.
    Host,
}

/// Samples the CPU use of this worker.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    root: PathBuf,
    platform: Platform,
    last: Option<(Reading, Instant)>,
}

#[derive(Debug, Clone, Copy)]
enum Reading {
    Cgroup(CgroupUse),
    Host(HostUse),
}

impl CpuMeter {
    /// For the platform that this process runs on; None if it is neither a container of Kubernetes or ECS nor an EC2
    /// instance, where the numbers would not compare with other workers'.
    pub(crate) fn detect() -> Option<Self> {
        let on_ecs = std::env::var_os("ECS_CONTAINER_METADATA_URI_V4").is_some();
        Self::detect_in(Path::new("/"), on_ecs)
    }

    fn detect_in(root: &Path, on_ecs: bool) -> Option<Self> {
        let exists = |path: &str| root.join(path).exists();
        let in_container = on_ecs || exists("var/run/secrets/kubernetes.io/serviceaccount/token");
        let vendor = std::fs::read_to_string(root.join("sys/class/dmi/id/board_vendor")).unwrap_or_default();
        let platform = if in_container {
            if exists("sys/fs/cgroup/cgroup.controllers") { Platform::CgroupV2 } else { Platform::CgroupV1 }
        } else if vendor.trim() == "Amazon EC2" {
            Platform::Host
        } else {
            return None;
        };
        Some(Self { root: root.to_owned(), platform, last: None })
    }

    /// Use since the last sample in percent, 0 for the first; None if it cannot be read.
    pub(crate) fn sample(&mut self) -> Option<f64> {
        let (reading, now) = (self.read()?, Instant::now());
        let percent = match (&self.last, &reading) {
            (Some((Reading::Cgroup(before), then)), Reading::Cgroup(after)) => after.percent_since(before, now - *then),
            (Some((Reading::Host(before), _)), Reading::Host(after)) => after.percent_since(before),
            _ => 0.0,
        };
        self.last = Some((reading, now));
        Some(percent)
    }

    fn read(&self) -> Option<Reading> {
        let file = |path: &str| std::fs::read_to_string(self.root.join(path)).ok();
        let cgroup = |path: &str| file(&format!("sys/fs/cgroup/{path}"));
        match self.platform {
            Platform::CgroupV2 => {
                let cpuset = cgroup("cpuset.cpus.effective")?;
                cgroup_v2(&cgroup("cpu.stat")?, &cgroup("cpu.max")?, &cpuset).map(Reading::Cgroup)
            }
            Platform::CgroupV1 => {
                let (quota, period) = (cgroup("cpu/cpu.cfs_quota_us")?, cgroup("cpu/cpu.cfs_period_us")?);
                let (usage, cpuset) = (cgroup("cpuacct/cpuacct.usage")?, cgroup("cpuset/cpuset.effective_cpus")?);
                cgroup_v1(&usage, &quota, &period, &cpuset).map(Reading::Cgroup)
            }
            Platform::Host => host(&file("proc/stat")?).map(Reading::Host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like the root of such a platform.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            write(root.path(), path, text);
        }
        root
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_with_cgroup_v2_is_measured_against_its_limit() {
        let root = root(&[
            ("sys/fs/cgroup/cgroup.controllers", "cpu"),
            ("sys/fs/cgroup/cpu.stat", "usage_usec 0\n"),
            ("sys/fs/cgroup/cpu.max", "100000 100000\n"),
            ("sys/fs/cgroup/cpuset.cpus.effective", "0-3\n"),
        ]);
        let mut meter = CpuMeter::detect_in(root.path(), true).unwrap();
        assert_eq!(meter.sample(), Some(0.0));

        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        write(root.path(), "sys/fs/cgroup/cpu.stat", "usage_usec 500000\n");

        assert_eq!(meter.sample(), Some(25.0));
    }

    #[test]
    fn an_ec2_instance_is_measured_as_a_whole_and_a_laptop_not_at_all() {
        let ec2 = root(&[("sys/class/dmi/id/board_vendor", "Amazon EC2\n"), ("proc/stat", "cpu  1 1 1 1 1\n")]);
        assert_eq!(CpuMeter::detect_in(ec2.path(), false).unwrap().sample(), Some(0.0));

        assert!(CpuMeter::detect_in(root(&[]).path(), false).is_none());
    }

    #[test]
    fn missing_files_give_no_sample() {
        let mut meter = CpuMeter::detect_in(root(&[]).path(), true).unwrap();

        assert_eq!(meter.platform, Platform::CgroupV1);
        assert_eq!(meter.sample(), None);
    }
}
