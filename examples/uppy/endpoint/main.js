import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import Dashboard from '@uppy/dashboard'

import '@uppy/core/css/style.min.css'
import '@uppy/dashboard/css/style.min.css'

// Your page knows both; here they come from the address: index.html#api=https://…&token=…
const page = new URLSearchParams(location.hash.slice(1))
const api = page.get('api') ?? 'http://127.0.0.1:8000'
const token = page.get('token')

const uppy = new Uppy()
  .use(Dashboard, { target: '#uploads', inline: true })
  .use(AwsS3, {
    endpoint: api,
    headers: token ? { Authorization: `Bearer ${token}` } : {},
  })

// When your token is renewed: uppy.getPlugin('AwsS3Multipart').setOptions({ headers: { Authorization: … } })

uppy.on('upload-success', (file) => {
  const line = document.createElement('li')
  line.textContent = `${file.name} has arrived`
  document.getElementById('arrived').append(line)
})
