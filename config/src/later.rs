//! Keys and values of the design that this version does not have. They are refused like any
//! other unknown one; these remedies keep an operator from searching for a misspelling.

/// What to do about an unknown key.
pub(crate) fn key(key: &str) -> Option<String> {
    let help = match key {
        "plans" => "named release plans are not part of this version; remove it",
        "auth" | "authentication" | "jwt" => {
            "authentication is not part of this version; remove it"
        }
        "cache" => "caching is not part of this version; remove it",
        "source" => "the document is always owned by the file in this version; remove it",
        // `[dns]` exists; of an upstream it would be discovery.
        "dns" | "discovery" | "resolver" => {
            "DNS discovery is not part of this version; list addresses in `endpoints`"
        }
        _ => return None,
    };
    Some(help.to_owned())
}

/// What to do about an unknown word.
pub(crate) fn word(word: &str) -> Option<String> {
    let help = match word {
        "http3" | "h3" | "quic" => "HTTP/3 is not part of this version",
        "hash" | "ketama" | "ring-hash" | "maglev" => {
            "balancing by hash is not part of this version"
        }
        _ => return None,
    };
    Some(help.to_owned())
}
