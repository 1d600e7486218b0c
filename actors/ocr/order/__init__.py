"""Parts of `actors.ocr.reading_order`.

* `boxes`: upright boxes of a skewed page.
* `rows`: boxes to rows, rows to cells with column numbers.
* `evidence`: whether the two sides of a gutter are columns of prose or cells of rows.
* `columns`: gutters, and the order of a page with them.
* `blocks`: the rows beside a gutter that are columns.
* `bridges`: lines that were joined across a gutter.
* `skew`: the angle of a page.
* `vertical`: vertical lines of Han and kana.
* `from_right`: pages in Arabic and Hebrew.
"""
