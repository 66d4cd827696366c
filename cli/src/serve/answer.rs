//! Answers to requests: the page, looks as server-sent events, and to anyone that requests are answered.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{self, HeaderValue},
};
use tokio::sync::watch;

use super::{look::Looks, page};

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Events = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// Scripts and styles of the page alone, and connections to where it comes from.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'";

/// Answers to requests.
#[derive(Debug)]
pub(super) struct Answering {
    page: String,
    token: Option<String>,
    looks: watch::Receiver<Arc<Looks>>,
}

impl Answering {
    pub(super) fn new(application: &str, token: Option<String>, looks: watch::Receiver<Arc<Looks>>) -> Self {
        Self { page: page::live(application), token, looks }
    }

    pub(super) fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        if request.uri().path() == "/livez" {
            return text(StatusCode::OK, "text/plain", "live\n".to_owned());
        }
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        if !self.is_allowed(host, request.uri().query()) {
            return text(
                StatusCode::FORBIDDEN,
                "text/plain",
                "a token is needed, or the address of this machine\n".to_owned(),
            );
        }
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
        }
        match request.uri().path() {
            "/" => text(StatusCode::OK, "text/html; charset=utf-8", self.page.clone()),
            "/events" => self.events(),
            _ => text(StatusCode::NOT_FOUND, "text/plain", "not found\n".to_owned()),
        }
    }

    /// With a token, whoever has it. Without one, who names this machine: else a page of somebody else could be made to read this
    /// one, by a name that leads here.
    fn is_allowed(&self, host: Option<&str>, query: Option<&str>) -> bool {
        match &self.token {
            Some(token) => {
                let given = query.and_then(|query| query.split('&').find_map(|part| part.strip_prefix("token=")));
                given.is_some_and(|given| is_same(given.as_bytes(), token.as_bytes()))
            }
            None => host.is_some_and(|host| {
                let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|it| it.is_ascii_digit()));
                ["localhost", "127.0.0.1", "[::1]"].contains(&name.map_or(host, |(name, _)| name))
            }),
        }
    }

    fn events(&self) -> Response<Body> {
        let events = stream::unfold((self.looks.clone(), 0, true), |(mut looks, from, is_first)| async move {
            if !is_first {
                looks.changed().await.ok()?;
            }
            let (text, next) = {
                let looks = looks.borrow_and_update();
                let text: String =
                    looks.since(from).map(|(number, look)| format!("id: {number}\ndata: {look}\n\n")).collect();
                (text, looks.next())
            };
            Some((Ok(Frame::data(Bytes::from(text))), (looks, next, false)))
        });
        let events: Events = Box::pin(events);
        answered(StatusCode::OK, "text/event-stream", StreamBody::new(events).boxed_unsync())
    }
}

/// Takes as long for each text of the same length.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |so_far, (a, b)| so_far | (a ^ b)) == 0
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    answered(status, kind, Full::new(Bytes::from(text)).boxed_unsync())
}

fn answered(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(token: Option<&str>) -> Answering {
        Answering::new("app", token.map(str::to_owned), watch::channel(Arc::default()).1)
    }

    #[test]
    fn without_a_token_only_this_machine_is_let_in() {
        let open = answering(None);

        for host in ["localhost", "localhost:80", "127.0.0.1:7878", "[::1]", "[::1]:7878"] {
            assert!(open.is_allowed(Some(host), None), "{host}");
        }
        for host in [Some("evil.example"), Some("evil.example:7878"), Some("localhost.evil.example"), None] {
            assert!(!open.is_allowed(host, None), "{host:?}");
        }
    }

    #[test]
    fn with_a_token_only_who_has_it_is_let_in() {
        let closed = answering(Some("secret"));

        assert!(closed.is_allowed(Some("host"), Some("a=b&token=secret")));
        for query in [None, Some("token="), Some("token=secreT"), Some("token=secrets")] {
            assert!(!closed.is_allowed(Some("localhost"), query), "{query:?}");
        }
    }
}
