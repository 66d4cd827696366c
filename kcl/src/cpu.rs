//! SHELL: CPU use of this worker, from files or Amazon ECS' agent, computed by [`logic::cpu`](crate::logic::cpu).

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    logic::cpu::{CgroupUse, EcsShare, EcsUse, HostUse, cgroup_v1, cgroup_v2, ecs_share, ecs_use, host},
    time::now,
};

/// Maximum time for an answer of the agent, which is on the same host.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum bytes of an answer.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug)]
enum Platform {
    Ecs(Agent),
    CgroupV2,
    CgroupV1,
    Host,
}

#[derive(Debug)]
pub(crate) struct CpuMeter {
    root: PathBuf,
    platform: Platform,
    last: Option<(Sample, Instant)>,
}

#[derive(Debug, Clone, Copy)]
enum Sample {
    Ecs(EcsUse),
    Cgroup(CgroupUse),
    Host(HostUse),
}

impl CpuMeter {
    /// Meter of this platform; None outside of Kubernetes, ECS and EC2, where the numbers would not compare with others'.
    pub(crate) fn detect() -> Option<Self> {
        let ecs = std::env::var("ECS_CONTAINER_METADATA_URI_V4").ok();
        Self::detect_in(Path::new("/"), ecs.as_deref())
    }

    fn detect_in(root: &Path, ecs: Option<&str>) -> Option<Self> {
        let exists = |path: &str| root.join(path).exists();
        let in_container = exists("var/run/secrets/kubernetes.io/serviceaccount/token");
        let vendor = std::fs::read_to_string(root.join("sys/class/dmi/id/board_vendor")).unwrap_or_default();
        let platform = if let Some(agent) = ecs {
            Platform::Ecs(Agent::new(agent)?)
        } else if in_container {
            if exists("sys/fs/cgroup/cgroup.controllers") { Platform::CgroupV2 } else { Platform::CgroupV1 }
        } else if vendor.trim() == "Amazon EC2" {
            Platform::Host
        } else {
            return None;
        };
        Some(Self { root: root.to_owned(), platform, last: None })
    }

    /// Use since the last sample in percent, 0 for the first; None if it cannot be read.
    pub(crate) async fn sample(&mut self) -> Option<f64> {
        let (reading, now) = (self.read().await?, now());
        let percent = match (&self.last, &reading) {
            (Some((Sample::Cgroup(before), then)), Sample::Cgroup(after)) => after.percent_since(before, now - *then),
            (Some((Sample::Ecs(before), _)), Sample::Ecs(after)) => after.percent_since(before),
            (Some((Sample::Host(before), _)), Sample::Host(after)) => after.percent_since(before),
            _ => 0.0,
        };
        self.last = Some((reading, now));
        Some(percent)
    }

    async fn read(&mut self) -> Option<Sample> {
        let root = &self.root;
        let file = |path: &str| std::fs::read_to_string(root.join(path)).ok();
        let cgroup = |path: &str| file(&format!("sys/fs/cgroup/{path}"));
        match &mut self.platform {
            Platform::Ecs(agent) => agent.read().await.map(Sample::Ecs),
            Platform::CgroupV2 => {
                let cpuset = cgroup("cpuset.cpus.effective")?;
                cgroup_v2(&cgroup("cpu.stat")?, &cgroup("cpu.max")?, &cpuset).map(Sample::Cgroup)
            }
            Platform::CgroupV1 => {
                let (quota, period) = (cgroup("cpu/cpu.cfs_quota_us")?, cgroup("cpu/cpu.cfs_period_us")?);
                let (usage, cpuset) = (cgroup("cpuacct/cpuacct.usage")?, cgroup("cpuset/cpuset.effective_cpus")?);
                cgroup_v1(&usage, &quota, &period, &cpuset).map(Sample::Cgroup)
            }
            Platform::Host => host(&file("proc/stat")?).map(Sample::Host),
        }
    }
}

/// The container agent of Amazon ECS, which answers by plain HTTP beside the container.
/// Source: <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html>
#[derive(Debug)]
struct Agent {
    authority: String,
    path: String,
    /// This container's part of the task's cores; asked for once.
    share: Option<EcsShare>,
}

impl Agent {
    /// `uri` is `http://<host>/<path>`.
    fn new(uri: &str) -> Option<Self> {
        let (authority, path) = uri.strip_prefix("http://")?.split_once('/')?;
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        Some(Self { authority, path: format!("/{}", path.trim_end_matches('/')), share: None })
    }

    /// None if the agent does not answer as it should.
    async fn read(&mut self) -> Option<EcsUse> {
        let share = match self.share {
            Some(share) => share,
            None => {
                let (task, container) = (self.get("/task").await?, self.get("").await?);
                *self.share.insert(ecs_share(&task, &container)?)
            }
        };
        ecs_use(&self.get("/stats").await?, share)
    }

    async fn get(&self, resource: &str) -> Option<String> {
        let answer = timeout(TIMEOUT, self.try_get(resource)).await.ok()?.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split_whitespace().nth(1).is_some_and(|status| status == "200").then(|| body.to_owned())
    }

    /// HTTP 1.0, in which the answer's end is that of the connection.
    async fn try_get(&self, resource: &str) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(&self.authority).await?;
        let request = format!("GET {}{resource} HTTP/1.0\r\nHost: {}\r\n\r\n", self.path, self.authority);
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.take(MAX_BYTES).read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

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
            ("var/run/secrets/kubernetes.io/serviceaccount/token", ""),
            ("sys/fs/cgroup/cgroup.controllers", "cpu"),
            ("sys/fs/cgroup/cpu.stat", "usage_usec 0\n"),
            ("sys/fs/cgroup/cpu.max", "100000 100000\n"),
            ("sys/fs/cgroup/cpuset.cpus.effective", "0-3\n"),
        ]);
        let mut meter = CpuMeter::detect_in(root.path(), None).unwrap();
        assert_eq!(meter.sample().await, Some(0.0));

        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        write(root.path(), "sys/fs/cgroup/cpu.stat", "usage_usec 500000\n");

        assert_eq!(meter.sample().await, Some(25.0));
    }

    #[tokio::test]
    async fn an_ec2_instance_is_measured_as_a_whole_and_a_laptop_not_at_all() {
        let ec2 = root(&[("sys/class/dmi/id/board_vendor", "Amazon EC2\n"), ("proc/stat", "cpu  1 1 1 1 1\n")]);
        assert_eq!(CpuMeter::detect_in(ec2.path(), None).unwrap().sample().await, Some(0.0));

        assert!(CpuMeter::detect_in(root(&[]).path(), None).is_none());
    }

    #[tokio::test]
    async fn missing_files_give_no_sample() {
        let root = root(&[("var/run/secrets/kubernetes.io/serviceaccount/token", "")]);
        let mut meter = CpuMeter::detect_in(root.path(), None).unwrap();

        assert!(matches!(meter.platform, Platform::CgroupV1));
        assert_eq!(meter.sample().await, None);
    }

    #[test]
    fn ecs_wins_over_what_else_there_is() {
        let root = root(&[("sys/class/dmi/id/board_vendor", "Amazon EC2\n"), ("proc/stat", "cpu  1 1 1 1 1\n")]);
        let meter = CpuMeter::detect_in(root.path(), Some("http://169.254.170.2/v4/id")).unwrap();
        assert!(matches!(meter.platform, Platform::Ecs(_)));
    }

    /// Answers one request after the other with what `answer` says of its path.
    async fn agent(answer: impl Fn(&str) -> String + Send + 'static) -> Agent {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/v4/id", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = connection.read(&mut request).await.unwrap();
                let request = String::from_utf8(request[..length].to_vec()).unwrap();
                let path = request.split_whitespace().nth(1).unwrap();
                connection.write_all(answer(path).as_bytes()).await.unwrap();
            }
        });
        Agent::new(&uri).unwrap()
    }

    #[tokio::test]
    async fn the_agent_is_asked_for_stats_task_and_container() {
        let mut agent = agent(|path| {
            let body = match path {
                "/v4/id" => r#"{"DockerId": "me"}"#,
                "/v4/id/task" => {
                    r#"{"Limits": {"CPU": 0.5}, "Containers": [{"DockerId": "me", "Limits": {"CPU": 1}}, {"DockerId": "x", "Limits": {"CPU": 3}}]}"#
                }
                "/v4/id/stats" => {
                    r#"{"cpu_stats": {"cpu_usage": {"total_usage": 7}, "system_cpu_usage": 70, "online_cpus": 2}}"#
                }
                other => panic!("nobody asks for {other}"),
            };
            format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}")
        })
        .await;
        let expected = EcsUse { used: 7, system: 70, online: 2.0, cores: 0.125 };
        assert_eq!(agent.read().await, Some(expected));
    }

    #[tokio::test]
    async fn an_agent_that_refuses_or_is_not_there_gives_no_sample() {
        let mut refusing = agent(|_| "HTTP/1.0 500 Internal Server Error\r\n\r\n{}".to_owned()).await;
        assert_eq!(refusing.read().await, None);
        let mut absent = Agent::new("http://127.0.0.1:1/v4/id").unwrap();
        assert_eq!(absent.read().await, None);
        assert!(Agent::new("https://example.com/v4").is_none() && Agent::new("").is_none());
    }
}
