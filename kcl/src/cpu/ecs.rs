//! SHELL: asks the container agent of Amazon ECS, which answers by plain HTTP beside the container.
//! Source: <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html>

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::logic::cpu::{EcsShare, EcsUse, ecs_share, ecs_use};

/// The agent is on the same host.
const TIMEOUT: Duration = Duration::from_secs(1);
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Agent {
    authority: String,
    path: String,
    /// This container's part of the task's cores; asked for once.
    share: Option<EcsShare>,
}

impl Agent {
    /// `uri` is `http://<host>/<path>`.
    pub(super) fn new(uri: &str) -> Option<Self> {
        let (authority, path) = uri.strip_prefix("http://")?.split_once('/')?;
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        Some(Self { authority, path: format!("/{}", path.trim_end_matches('/')), share: None })
    }

    /// None if the agent does not answer as it should.
    pub(super) async fn read(&mut self) -> Option<EcsUse> {
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
