//! `GET /v1/explain?url=..`: what would happen to a request that nobody sends.

use super::{Problem, params::Params};
use crate::{
    plane::Plane,
    ports::{ExplainQuery, Explanation},
};
use axum::{Json, extract::State};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use std::sync::Arc;

/// Headers of one question.
const MOST_HEADERS: usize = 100;

pub(crate) async fn show(
    State(plane): State<Arc<Plane>>,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json(plane.edge.explain(&query(pairs)?)))
}

fn query(pairs: Vec<(String, String)>) -> Result<ExplainQuery, Problem> {
    let mut url = None;
    let mut method = Method::GET;
    let mut headers = HeaderMap::new();
    let mut client = None;
    for (key, value) in pairs {
        let wrong = |expected| {
            Problem::bad_request(format!("`{key}`: expected {expected}, found `{value}`"))
        };
        match key.as_str() {
            "url" => {
                let absolute = value
                    .parse::<Uri>()
                    .is_ok_and(|u| matches!(u.scheme_str(), Some("http" | "https")));
                if !absolute {
                    return Err(wrong("a URL such as https://shop.example.com/cart"));
                }
                url = Some(value);
            }
            "method" => method = value.parse().map_err(|_| wrong("an HTTP method"))?,
            "header" => {
                if headers.len() == MOST_HEADERS {
                    return Err(Problem::bad_request(format!("over {MOST_HEADERS} headers")));
                }
                let (name, content) = header(&value).ok_or_else(|| wrong("`name: value`"))?;
                headers.append(name, content);
            }
            "client" => client = Some(value.parse().map_err(|_| wrong("an IP address"))?),
            _ => {
                return Err(Problem::bad_request(format!(
                    "there is no parameter `{key}` (there are `url`, `method`, `header`, `client`)"
                )));
            }
        }
    }
    let url = url.ok_or_else(|| Problem::bad_request("`url` is missing"))?;
    Ok(ExplainQuery { url, method, headers, client })
}

fn header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}
