//! The known name a misspelt one may mean.

/// The name closest to `word`, if one is close enough to be meant: a swap of neighbours counts
/// once, and a quarter of the letters may differ.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().max(word.len()) / 4)
        .min()
        .map(|(_, name)| name)
}

/// Letters to change; a word cut short (`warning` for `warn`) counts once.
fn distance(word: &str, name: &str) -> usize {
    let (short, long) = if word.len() < name.len() { (word, name) } else { (name, word) };
    if short.len() >= 3 && long.starts_with(short) && long.len() <= 2 * short.len() {
        return 1;
    }
    strsim::osa_distance(word, name)
}

/// A help that names the nearest of `known`, or else lists them while they are few.
pub(crate) fn suggest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    const FEW: usize = 12;
    if let Some(name) = nearest(word, known.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let mut known: Vec<_> =
        known.into_iter().take(FEW + 1).map(|name| format!("`{name}`")).collect();
    if known.is_empty() || known.len() > FEW {
        return None;
    }
    known.sort();
    Some(format!("known here: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let keys = ["service", "services", "rate_limits", "hosts", "host"];
        assert_eq!(nearest("servcie", keys), Some("service"));
        assert_eq!(nearest("ratelimits", keys), Some("rate_limits"));
        assert_eq!(nearest("Host", keys), Some("host"));
        assert_eq!(nearest("upstream", keys), None);
        assert_eq!(nearest("", keys), None);
    }
}
