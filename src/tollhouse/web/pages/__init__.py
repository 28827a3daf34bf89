"""The pages: what an app's customers see of their jobs and bills, and what its operators see of everything.

Rendered on the server and complete without JavaScript; one small script refreshes marked fragments and enhances forms.
"""
