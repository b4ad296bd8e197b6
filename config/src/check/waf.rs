//! WAF policies have what they need, and something to do.

use super::Check;
use crate::WafClients;

pub(super) fn check(check: &mut Check<'_>) {
    let config = check.config;
    for (name, policy) in &config.waf {
        let clients =
            [("bypass", &policy.bypass), ("deny", &policy.deny), ("allow", &policy.allow)];
        for (key, clients) in clients {
            if let Some(clients) = clients {
                databases(check, &["waf", name.as_str(), key], clients);
            }
        }
        if policy.rules.is_empty() && !policy.has_checks() {
            check
                .fault(&["waf", name.as_str(), "rules"], "a policy without rules needs checks")
                .help("add `deny`, `allow`, `methods`, `patches` or the like, or rules");
        }
        for (at, patch) in policy.patches.iter().enumerate() {
            if policy.patches[..at].iter().any(|other| other.name == patch.name) {
                let step = format!("[{at}]");
                let path = ["waf", name.as_str(), "patches", &step, "name"];
                check.fault(&path, format!("two patches are named `{}`", patch.name));
            }
        }
    }
}

fn databases(check: &mut Check<'_>, path: &[&str; 3], clients: &WafClients) {
    let geo = &check.config.geo;
    let needs = [
        ("countries", !clients.countries.is_empty(), geo.country.is_some(), "country", "Country"),
        ("asns", !clients.asns.is_empty(), geo.asn.is_some(), "asn", "ASN"),
    ];
    for (key, needed, there, database, kind) in needs {
        if needed && !there {
            let path = [path[0], path[1], path[2], key];
            check
                .fault(&path, format!("`{key}` need a database: `[geo]` has no `{database}`"))
                .help(format!(
                    "add `{database} = \"/usr/share/GeoIP/GeoLite2-{kind}.mmdb\"` to `[geo]`"
                ));
        }
    }
}
