//! The crawlers of large search engines, with the domains that their operators document for
//! verification. Only what anybody else could not get a name in: Google's cloud, say, gives
//! its customers names, too.

use super::Crawler;
use tidegate_config::WafCrawler;

const KNOWN: [(&str, &[&str]); 7] = [
    ("Googlebot", &["googlebot.com", "google.com"]),
    ("bingbot", &["search.msn.com"]),
    ("Applebot", &["applebot.apple.com"]),
    ("YandexBot", &["yandex.ru", "yandex.net", "yandex.com"]),
    ("Baiduspider", &["baidu.com", "baidu.jp"]),
    ("PetalBot", &["petalsearch.com", "aspiegel.com"]),
    ("SeznamBot", &["seznam.cz"]),
];

/// All of them.
pub(crate) fn known() -> impl Iterator<Item = Crawler> {
    KNOWN.iter().map(|&(user_agent, domains)| {
        Crawler::new(&WafCrawler {
            user_agent: user_agent.to_owned(),
            domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_explained_to_operators() {
        let text = include_str!("../../../../docs/waf.md");
        for (user_agent, domains) in KNOWN {
            let row = format!("| `{user_agent}` | `{}` |", domains.join("`, `"));
            assert!(text.contains(&row), "{row}");
        }
    }
}
