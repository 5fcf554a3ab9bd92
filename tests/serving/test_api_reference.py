"""The API as a page."""

from playwright.sync_api import expect


def test_the_api_is_shown_without_a_network(open_page, send):
    page = open_page(f"http://127.0.0.1:{send.port}/docs")
    expect(page.locator("#operations-inspection-predict_post, [id*=predict]").first).to_be_visible()
    asked = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    assert all(
        address.startswith(f"http://127.0.0.1:{send.port}/") or address.startswith("data:")
        for address in asked
    )
