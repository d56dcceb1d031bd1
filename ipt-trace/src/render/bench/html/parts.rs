//! Parts that pages are made of.

use maud::{Markup, PreEscaped, html};

use super::chart::{Chart, Paint};

/// A chart with its heading and what it shows in words.
pub fn figure(heading: &str, chart: &Chart, caption: &str) -> Markup {
    html! {
        figure {
            h3 { (heading) }
            div.chart role="img" aria-label=(format!("{heading}. {caption}")) {
                @for (class, svg) in chart.svgs() { div class=(class) { (PreEscaped(svg)) } }
            }
            figcaption { (caption) }
        }
    }
}

/// What colours stand for.
pub fn legend(entries: &[(Paint, String)]) -> Markup {
    html! {
        ul.legend aria-label="Colours" {
            @for (paint, name) in entries {
                li {
                    span.swatch style=(format!("background:{}", paint.name())) {}
                    (name)
                }
            }
        }
    }
}

/// A table that scrolls by itself where it is too wide. The first `text` columns are text.
pub fn table(label: &str, head: &[&str], text: usize, rows: &[Vec<String>]) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr {
                    @for (place, name) in head.iter().enumerate() {
                        th.text[place < text] scope="col" { (name) }
                    }
                } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (place, cell) in row.iter().enumerate() {
                                @if place == 0 {
                                    th scope="row" { (cell) }
                                } @else {
                                    td.text[place < text] { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
