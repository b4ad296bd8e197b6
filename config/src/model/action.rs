use crate::{
    Name,
    shape::{
        Catalogue, Key, Misfit, Reader, Shape, Table, TextShape, Written, optional, prose,
        reference, table, text, whole,
    },
};

/// What a route does; exactly one of `service`, `redirect`, `respond`.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Sends the request to a service.
    Service(Name),
    /// `redirect = { to = "https://new.example.com", status = 308, keep_path = true }`
    Redirect {
        /// An absolute URL or a path.
        to: String,
        /// 301, 302, 303, 307 or 308 (default).
        status: u16,
        /// Appends the request's path and query to `to`. Default false.
        keep_path: bool,
    },
    /// `respond = { status = 200, body = "ok", content_type = "text/plain" }`
    Respond {
        /// 200 to 599; default 200.
        status: u16,
        /// The body, at most 1 MiB; default empty.
        body: String,
        /// The body's `Content-Type`. Default `text/plain; charset=utf-8`.
        content_type: String,
    },
}

impl Table for Action {
    fn keys(catalogue: &mut Catalogue, keys: &mut Vec<Key>) {
        let service = prose(&["The service the requests go to."]);
        let redirect = prose(&["Answers with a redirect."]);
        let respond = prose(&["Answers with a fixed response."]);
        keys.extend([
            Key::new(catalogue, "service", service, None, &optional(service_name())),
            Key::new(catalogue, "redirect", redirect, None, &optional(Redirect::shape())),
            Key::new(catalogue, "respond", respond, None, &optional(Respond::shape())),
        ]);
    }

    fn read(reader: &mut Reader<'_, '_, '_>) -> Option<Self> {
        match reader.one_of(&["service", "redirect", "respond"])? {
            "service" => reader.field("service", None, &service_name()).map(Self::Service),
            "redirect" => {
                let Redirect { to, status, keep_path } =
                    reader.field("redirect", None, &Redirect::shape())?;
                Some(Self::Redirect { to, status, keep_path })
            }
            _ => {
                let Respond { status, body, content_type } =
                    reader.field("respond", None, &Respond::shape())?;
                Some(Self::Respond { status, body, content_type })
            }
        }
    }
}

fn service_name() -> impl Shape<Value = Name> {
    reference("service", "services")
}

table! {
    /// `redirect = { to = ".." }`: answers with a redirect.
    pub(crate) struct Redirect {
        /// An absolute URL or a path.
        to: String as location(),
        /// 301, 302, 303, 307 or 308 (default).
        status: u16 = 308 as whole(301..=308),
        /// Appends the request's path and query to `to`. Default false.
        keep_path: bool = false,
    }
    check = check_redirect;
}

fn check_redirect(redirect: &Redirect, reader: &mut Reader<'_, '_, '_>) {
    if !matches!(redirect.status, 301 | 302 | 303 | 307 | 308) {
        let message = format!("expected 301, 302, 303, 307 or 308, found `{}`", redirect.status);
        reader.fault_at(Some("status"), message);
    }
    if redirect.keep_path && redirect.to.contains(['?', '#']) {
        reader
            .fault_at(Some("to"), "`keep_path` appends a path, which cannot follow a query")
            .help("end it before `?` or `#`");
    }
}

table! {
    /// `respond = { status = 200, body = "ok" }`: answers with a fixed response.
    pub(crate) struct Respond {
        /// 200 to 599; default 200.
        status: u16 = 200 as whole(200..=599),
        /// The body, at most 1 MiB; default empty.
        body: String = "" as body(),
        /// The body's `Content-Type`. Default `text/plain; charset=utf-8`.
        content_type: String = "text/plain; charset=utf-8" as content_type(),
    }
    check = check_respond;
}

fn check_respond(respond: &Respond, reader: &mut Reader<'_, '_, '_>) {
    // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
    if matches!(respond.status, 204 | 205 | 304) && !respond.body.is_empty() {
        let message = format!("a response with status {} has no body", respond.status);
        reader.fault_at(Some("body"), message);
    }
}

/// The largest fixed response, in bytes.
const MAX_BODY: usize = 1 << 20;

fn body() -> TextShape<String> {
    text("a string of at most 1 MiB", |text| match text.len() <= MAX_BODY {
        true => Ok(text.to_owned()),
        false => Err(Misfit::because(format!(
            "the body has {} bytes, at most {MAX_BODY} are allowed",
            text.len()
        ))),
    })
}

fn content_type() -> TextShape<String> {
    text("a media type such as `text/plain`", |text| {
        let valid =
            text.split_once('/').is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty())
                && http::HeaderValue::from_str(text).is_ok();
        if valid { Ok(text.to_owned()) } else { Err(Misfit::form()) }
    })
}

fn location() -> TextShape<String> {
    text("an absolute URL or a path", |text| {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Misfit::form().help("escape what cannot stand in a URL"));
        }
        // `//host` would leave the site.
        if text.starts_with('/') && !text.starts_with("//") {
            return Ok(text.to_owned());
        }
        let uri = text.parse::<http::Uri>().map_err(|_| Misfit::form())?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(text.to_owned()),
            _ => Err(Misfit::form().help("start it with `https://`, `http://` or `/`")),
        }
    })
}
