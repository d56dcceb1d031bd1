//! A benchmark as one page of HTML that needs nothing else: no script, no network, no font.

mod chart;
mod packets;
mod parts;
mod restore;
mod stack;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::bench::Document;
use crate::report::words;

const STYLE: &str = include_str!("style.css");

/// Nothing but the page's own style may be loaded, whatever is in the names that it shows.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The whole page.
pub fn page(document: &Document) -> String {
    let title = title(document);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p.faint {
                        "Linux " (document.machine.kernel_release) " on "
                        (document.machine.architecture)
                        @if let Some(cpus) = document.machine.cpus_online { ", " (cpus) " CPUs" }
                        "; ipt-trace " (document.tool.version) "; " (document.started)
                        "; took " (words::duration(document.took_ns)) "."
                    }
                    @if document.interrupted {
                        p.bad { "Interrupted: this is what was finished by then." }
                    }
                    (navigation(document))
                }
                main {
                    @if let Some(bench) = &document.restore {
                        (restore::sections(document, bench))
                    }
                    @if let Some(bench) = &document.packets {
                        (packets::sections(document, bench))
                    }
                    (method(document))
                }
            }
        }
    };
    page.into_string()
}

fn title(document: &Document) -> String {
    match (&document.restore, &document.packets) {
        (Some(bench), _) if bench.noflush => {
            format!("What changing a rule of table {} costs", bench.table)
        }
        (Some(bench), _) => format!("What restoring table {} costs", bench.table),
        (None, Some(bench)) => {
            format!("What packets feel while table {} is replaced", bench.table)
        }
        (None, None) => "A benchmark of ipt-trace".to_owned(),
    }
}

fn navigation(document: &Document) -> Markup {
    let mut links: Vec<(&str, &str)> = Vec::new();
    if document.restore.is_some() {
        links.extend(restore::LINKS);
    }
    if document.packets.is_some() {
        links.extend(packets::LINKS);
    }
    links.push(("method", "Method"));
    html! {
        nav aria-label="Sections" {
            ul { @for (id, name) in links { li { a href=(format!("#{id}")) { (name) } } } }
        }
    }
}

fn method(document: &Document) -> Markup {
    html! {
        section id="method" {
            h2 { "Method" }
            @for note in &document.notes { p { (note) } }
            @if let Some(bench) = &document.restore {
                p { "Probes: " (bench.tier_reason) "." }
            }
            @if let Some(bench) = &document.packets {
                p { "Probes: " (bench.tier_reason) "." }
            }
            div.wide tabindex="0" role="region" aria-label="Contenders" {
                table {
                    thead { tr {
                        th.text scope="col" { "Contender" }
                        th.text scope="col" { "Version" }
                        th.text scope="col" { "Command" }
                    } }
                    tbody {
                        @for contender in &document.contenders {
                            tr {
                                th scope="row" { (contender.name) }
                                td.text { (contender.version.as_deref().unwrap_or("–")) }
                                td.text { code { (contender.command) } }
                            }
                        }
                    }
                }
            }
            @for left in &document.left_out {
                p { (left.name) " was left out: " (left.reason) "." }
            }
            p.faint {
                "≤ at most, ≥ at least, ~ about, no mark: exact. – not measured; none: the call is "
                "never made; ?: the runs are too far apart to conclude from, or no difference is "
                "shown."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::report::bench::testing;

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        whole(&page(&testing::document()), "id=\"growth\"");
        whole(&page(&testing::packets_document()), "id=\"delays\"");
    }

    fn whole(text: &str, section: &str) {
        for part in ["<!DOCTYPE html>", "<svg", section, "<details", "</html>"] {
            assert!(text.contains(part), "{part}");
        }
        for outside in ["http:", "https:", "src=", "@import", "<script", "url("] {
            let found = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!found.contains(outside), "{outside}");
        }
        // Colours are the style's, so that dark ones can replace light ones.
        assert!(text.contains("var(--c0)") && text.contains("var(--ink)"));
        assert!(!text.contains("fill=\"#"), "a colour of its own");
        assert!(!text.contains("stroke=\"#"), "a colour of its own");
    }

    #[test]
    fn names_from_elsewhere_are_only_text() {
        let mut document = testing::document();
        let evil = "<script>alert(1)</script>";
        document.contenders[1].name = evil.to_owned();
        let restore = document.restore.as_mut().unwrap();
        for cell in &mut restore.cells {
            if cell.contender != "ipt-trace" {
                cell.contender = evil.to_owned();
            }
        }
        for growth in &mut restore.growth {
            growth.contender = evil.to_owned();
        }
        assert!(!page(&document).contains("<script>"));
    }
}
