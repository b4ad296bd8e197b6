//! Paths of a policy's document, ready to test.

use regex::Regex;
use tidegate_config::PathPattern;
use tidegate_waf::PathTest;

/// The test of a pattern, as routes match theirs; says what is wrong with a regular expression.
pub(super) fn test(pattern: &PathPattern) -> Result<PathTest, regex::Error> {
    Ok(match pattern {
        PathPattern::Prefix(path) => PathTest::Below(path.trim_end_matches('/').to_owned()),
        PathPattern::Exact(path) => PathTest::Exact(path.clone()),
        PathPattern::Regex(pattern) => PathTest::Matching(Regex::new(pattern)?),
    })
}
